// The page of `mla-extend serve`: asks the server's own routes, and nothing else.

const element = (id) => document.getElementById(id);
const form = element("form"), query = element("query"), language = element("language");
const results = element("results"), status = element("status"), fault = element("fault"), start = element("start");
const viewer = element("viewer"), panel = element("panel"), drop = element("drop"), file = element("picture-file");
const GUESS = "auto", TOP = 24;
const number = new Intl.NumberFormat("en");
const percent = (share) => `${Math.round(100 * share)} %`;
const likely = (share) => (share > 0.99 ? "over 99 %" : percent(share));

let known = { native: "en", languages: [], images: 0 };
let hits = [];
let shown = 0;
let picture = null;
let running = null;

// Small helpers -------------------------------------------------------------------------------------------------

function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

// A language's name in itself, or null where the browser does not know it.
function ownName(tag) {
  try {
    const names = new Intl.DisplayNames([tag], { type: "language", fallback: "none" });
    const name = names.resolvedOptions().locale.split("-")[0] === tag.split("-")[0] ? names.of(tag) : null;
    return name ? name.charAt(0).toLocaleUpperCase(tag) + name.slice(1) : null;
  } catch {
    return null;
  }
}

function englishName(tag) {
  return known.languages.find((one) => one.language === tag)?.name ?? tag;
}

const nameOf = (tag) => ownName(tag) ?? englishName(tag);
const inItself = (tag) => make("bdi", { lang: ownName(tag) && tag }, nameOf(tag));

function join(parts, last) {
  return parts.flatMap((part, i) => (i === 0 ? [part] : [i === parts.length - 1 ? ` ${last} ` : ", ", part]));
}

const bare = (name) => name.split("/").pop();

function bytes(count) {
  return count >= 1e6 ? `${(count / 1e6).toFixed(1)} MB` : count >= 1e3 ? `${Math.round(count / 1e3)} kB` : `${count} B`;
}

async function fetchJson(address, options = {}) {
  let response;
  try {
    response = await fetch(address, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server cannot be reached. Check that it is running, then search again.");
  }
  const content = await response.json().catch(() => null);
  if (!response.ok) throw new Error(content?.error ?? `The server answered ${response.status} without a reason.`);
  return content;
}

// Searching -----------------------------------------------------------------------------------------------------

async function ask(address, options, describe) {
  running?.abort();
  const mine = (running = new AbortController());
  fault.textContent = "";
  setFresh(false);
  results.setAttribute("aria-busy", "true");
  const began = performance.now();
  try {
    const answer = await fetchJson(address, { ...options, signal: mine.signal });
    hits = answer.hits;
    draw(answer);
    status.replaceChildren(...describe(answer), ` ${Math.max(1, Math.round(performance.now() - began))} ms.`);
  } catch (error) {
    if (mine.signal.aborted) return;
    hits = [];
    results.replaceChildren();
    status.replaceChildren();
    fault.textContent = error.message;
  } finally {
    if (running === mine) {
      running = null;
      results.removeAttribute("aria-busy");
    }
  }
}

function searchText({ remember = true } = {}) {
  const text = query.value.trim();
  if (!text) {
    showStart();
    query.focus();
    return;
  }
  clearPicture();
  const asked = new URLSearchParams({ q: text, lang: language.value });
  if (remember) history.pushState(null, "", `?${asked}`);
  document.title = `${text} – image search`;
  asked.set("top", TOP);
  ask(`/search?${asked}`, {}, describeText);
}

function describeText(answer) {
  nameGuess(language.value === GUESS ? answer.languages[0] : null);
  const count = countOf(answer);
  const names = answer.languages.map((tag) => make("strong", {}, inItself(tag)));
  if (answer.confidence === null) return [`${count} in `, ...names, "."];
  const sure = likely(answer.confidence);
  if (answer.sure) return [`${count}. Guessed: `, ...names, `, ${sure} sure.`];
  return [`${count}. Not sure of the language (${sure}): searched in `, ...join(names, "and"), ". Choose one if you know it."];
}

function searchPicture(chosen) {
  setPicture(chosen);
  query.value = "";
  nameGuess(null);
  const body = new FormData();
  body.append("image", chosen, chosen.name || "picture");
  ask(`/search?top=${TOP}`, { method: "POST", body }, (answer) => [`${countOf(answer)} like your picture.`]);
}

const countOf = (answer) =>
  answer.hits.length === 0 ? "No image" : answer.hits.length === 1 ? "1 image" : `The ${answer.hits.length} nearest images`;

function nameGuess(tag) {
  language.options[0].textContent = tag ? `Detected: ${nameOf(tag)}` : "Detect the language";
}

function showStart() {
  running?.abort();
  hits = [];
  results.replaceChildren();
  status.replaceChildren();
  fault.textContent = "";
  nameGuess(null);
  document.title = "Image search";
  setFresh(true);
}

function setFresh(fresh) {
  start.hidden = !fresh;
  document.body.classList.toggle("fresh", fresh);
}

function fromAddress() {
  const asked = new URLSearchParams(location.search);
  query.value = asked.get("q") ?? "";
  const wanted = asked.get("lang") ?? GUESS;
  language.value = [...language.options].some((option) => option.value === wanted) ? wanted : GUESS;
  if (query.value.trim()) searchText({ remember: false });
  else {
    clearPicture();
    showStart();
  }
}

// Results -------------------------------------------------------------------------------------------------------

function draw(answer) {
  const several = answer.languages.length > 1;
  results.replaceChildren(
    ...answer.hits.map((hit, i) => {
      const name = bare(hit.name);
      const score = hit.score.toFixed(3);
      const inside = hit.thumbnail
        ? make("img", { src: hit.thumbnail, alt: name, loading: "lazy", decoding: "async" })
        : make("span", { class: "none" }, "No picture here");
      inside.addEventListener("error", () => inside.replaceWith(make("span", { class: "none" }, `${name} cannot be shown`)));
      const caption = make(
        "figcaption", {},
        make("bdi", { title: hit.name, "aria-hidden": hit.thumbnail ? "true" : null }, name),
        make("span", { class: "score" }, make("span", { class: "unseen" }, "score "), score,
          ...(several ? [" ", make("abbr", { title: englishName(hit.language) }, hit.language)] : [])),
      );
      const link = make("a", { href: hit.image ?? "#" }, make("figure", {}, make("div", { class: "frame" }, inside), caption));
      link.addEventListener("click", (event) => {
        if (event.metaKey || event.ctrlKey || event.shiftKey) return;
        event.preventDefault();
        view(i);
      });
      return make("li", {}, link);
    }),
  );
}

function columns() {
  return getComputedStyle(results).gridTemplateColumns.split(" ").length;
}

function move(from, step) {
  const links = results.querySelectorAll("a");
  const to = from + step;
  if (to < 0) query.focus();
  else if (to < links.length) links[to].focus();
}

results.addEventListener("keydown", (event) => {
  const links = [...results.querySelectorAll("a")];
  const at = links.indexOf(document.activeElement);
  const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns(), ArrowUp: -columns() }[event.key];
  if (at < 0) return;
  if (step) move(at, step);
  else if (event.key === "Home") links[0].focus();
  else if (event.key === "End") links.at(-1).focus();
  else return;
  event.preventDefault();
});

// One image -----------------------------------------------------------------------------------------------------

function view(i) {
  const hit = hits[i];
  shown = i;
  const name = bare(hit.name);
  const video = /\.(mp4|m4v|mov|webm|mkv|avi)$/i.test(name);
  element("viewer-name").textContent = name;
  element("viewer-stage").replaceChildren(
    !hit.image ? make("span", { class: "pale" }, "The index has no file of this image.")
      : video ? make("video", { src: hit.image, controls: true, "aria-label": name })
        : make("img", { src: hit.image, alt: name }),
  );
  const facts = [`${i + 1} of ${hits.length}`, `score ${hit.score.toFixed(3)}`];
  if (hit.language) facts.push(`found in ${englishName(hit.language)}`);
  if (hit.width) facts.push(`${hit.width} × ${hit.height} pixels`);
  if (hit.bytes) facts.push(bytes(hit.bytes));
  element("viewer-facts").textContent = facts.join(" · ");
  element("viewer-before").disabled = i === 0;
  element("viewer-after").disabled = i === hits.length - 1;
  element("viewer-like").hidden = !hit.thumbnail;
  const open = element("viewer-file");
  open.hidden = !hit.image;
  open.href = hit.image ?? "";
  if (!viewer.open) viewer.showModal();
}

viewer.addEventListener("keydown", (event) => {
  if (event.target instanceof HTMLVideoElement) return;
  const to = shown + ({ ArrowRight: 1, ArrowLeft: -1 }[event.key] ?? 0);
  if (to !== shown && hits[to]) view(to);
});
viewer.addEventListener("close", () => results.querySelectorAll("a")[shown]?.focus());
element("viewer-before").addEventListener("click", () => view(shown - 1));
element("viewer-after").addEventListener("click", () => view(shown + 1));
element("viewer-like").addEventListener("click", async () => {
  const hit = hits[shown];
  const video = element("viewer-stage").querySelector("video");
  viewer.close();
  try {
    const response = await fetch(video ? hit.thumbnail : hit.image);
    if (!response.ok) throw new Error(`The file of ${hit.name} is gone. Index the folder again.`);
    searchPicture(new File([await response.blob()], bare(hit.name)));
    query.focus();
  } catch (error) {
    fault.textContent = error.message;
  }
});
for (const dialog of [viewer, panel]) {
  dialog.querySelector(".close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
}

// A picture as the query ----------------------------------------------------------------------------------------

function setPicture(chosen) {
  clearPicture();
  picture = URL.createObjectURL(chosen);
  element("picture-image").src = picture;
  element("picture-name").textContent = chosen.name || "picture";
  element("picture").hidden = false;
  query.placeholder = "";
}

function clearPicture() {
  if (picture) URL.revokeObjectURL(picture);
  picture = null;
  element("picture").hidden = true;
  element("picture-image").removeAttribute("src");
  query.placeholder = "Describe a picture";
  file.value = "";
}

function take(transfer) {
  const chosen = [...(transfer?.files ?? [])].find((one) => one.type.startsWith("image/"));
  if (chosen) searchPicture(chosen);
  else if (transfer?.files?.length) fault.textContent = "That is not a picture. Choose a JPEG, PNG or WebP file.";
  return Boolean(transfer?.files?.length);
}

element("picture-choose").addEventListener("click", () => file.click());
element("picture-clear").addEventListener("click", () => {
  clearPicture();
  showStart();
  query.focus();
});
file.addEventListener("change", () => take({ files: [...file.files] }));
document.addEventListener("paste", (event) => {
  if (take(event.clipboardData)) event.preventDefault();
});
const carriesFile = (event) => event.dataTransfer?.types.includes("Files");
document.addEventListener("dragover", (event) => {
  if (!carriesFile(event)) return;
  event.preventDefault();
  drop.hidden = false;
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) drop.hidden = true;
});
document.addEventListener("drop", (event) => {
  drop.hidden = true;
  if (!carriesFile(event)) return;
  event.preventDefault();
  take(event.dataTransfer);
});

// Languages -----------------------------------------------------------------------------------------------------

async function readLanguages() {
  known = await fetchJson("/languages");
  const chosen = language.value;
  const others = known.languages.filter((one) => !one.native);
  others.sort((a, b) => nameOf(a.language).localeCompare(nameOf(b.language)));
  const all = [...known.languages.filter((one) => one.native), ...others];
  language.replaceChildren(
    language.options[0],
    ...all.map((one) => make("option", { value: one.language, lang: ownName(one.language) && one.language }, nameOf(one.language))),
  );
  language.value = all.some((one) => one.language === chosen) ? chosen : GUESS;
  element("title").textContent = `Search ${number.format(known.images)} ${known.images === 1 ? "image" : "images"}`;
  element("panel-open").textContent = `Languages (${all.length})`;
  element("known").replaceChildren(
    ...all.map((one) => {
      const button = make("button", { type: "button", title: one.name }, inItself(one.language));
      button.addEventListener("click", () => {
        language.value = one.language;
        query.focus();
      });
      return make("li", {}, button);
    }),
  );
  drawPanel(all);
}

function drawPanel(all) {
  element("panel-about").textContent =
    `Quality is how often the right image is found, against the same search in ${englishName(known.native)}, the native language of the base ${known.base}.`;
  element("panel-list").replaceChildren(...all.map(describeLanguage));
}

function describeLanguage(one) {
  const beside = nameOf(one.language) === one.name ? one.language : `${one.name} · ${one.language}`;
  const item = make("li", {}, make("h3", {}, inItself(one.language), make("span", {}, beside)));
  if (one.problem) item.append(make("p", { class: "warn" }, one.problem));
  if (one.native) {
    item.append(make("p", { class: "pale" }, "The base's own language, which the others are compared with."));
    if (one.licence) item.append(make("dl", {}, make("dt", {}, "Licence"), make("dd", {}, one.licence)));
    return item;
  }
  item.append(describeQuality(one));
  if (one.noncommercial) item.append(make("p", { class: "warn" }, "Not for commercial use."));
  const list = make("dl");
  const row = (name, ...value) => list.append(make("dt", {}, name), make("dd", {}, ...value));
  const roles = { parallel: "sentence pairs", image_text: "captions" };
  const training = one.data.filter((record) => record.role in roles);
  if (training.length) {
    row("Data", training.map((record) => `${record.path}: ${number.format(record.kept ?? record.pairs)} ${roles[record.role]}`).join("; "));
    row("Licence", [...new Set(training.map((record) => record.licence ?? "unknown"))].join("; "));
  }
  if (one.created) row("Version", `${one.version} (${bytes(one.bytes)})`);
  item.append(list);
  return item;
}

function describeQuality(one) {
  const split = one.quality.find((part) => part.ratio != null) ?? one.quality[0];
  const box = make("div", { class: "quality" });
  const on = split && `Measured on ${one.test_set}, ${split.split}`;
  if (split?.ratio != null) {
    const rail = make("div", { class: "rail", "aria-hidden": "true" }, make("span"));
    rail.firstChild.style.setProperty("--share", Math.min(1, split.ratio));
    const [low, high] = split.ratio_ci95 ?? [];
    const interval = low == null ? "" : ` (${Math.round(100 * low)} to ${Math.round(100 * high)})`;
    box.append(
      rail,
      make("strong", {}, `${percent(split.ratio)} of ${englishName(known.native)}${interval}`),
      make("p", { class: "pale" },
        `${on}: mean recall ${percent(split.mean_recall)} against ${percent(split.native_mean_recall)} among ${number.format(split.gallery)} images.`),
    );
  } else if (split?.mean_recall != null) {
    box.append(make("p", { class: "pale" }, `${on}: mean recall ${percent(split.mean_recall)} among ${number.format(split.gallery)} images.`));
  } else if (split?.to_native_accuracy != null) {
    box.append(make("p", { class: "pale" }, `${on}: finds its sentence in ${englishName(known.native)} ${percent(split.to_native_accuracy)} of the time.`));
  } else {
    box.append(make("p", { class: "pale" }, "Not measured."));
  }
  return box;
}

element("panel-open").addEventListener("click", () => {
  panel.showModal();
  readLanguages().catch((error) => { element("panel-about").textContent = error.message; });
});

// Keys and start ------------------------------------------------------------------------------------------------

form.addEventListener("submit", (event) => {
  event.preventDefault();
  searchText();
});
language.addEventListener("change", () => {
  if (query.value.trim()) searchText();
});
query.addEventListener("keydown", (event) => {
  if (event.key === "ArrowDown" && hits.length) {
    event.preventDefault();
    results.querySelector("a").focus();
  } else if (event.key === "Escape") {
    event.preventDefault();
    query.value = "";
    clearPicture();
    showStart();
  }
});
document.addEventListener("keydown", (event) => {
  if (document.querySelector("dialog[open]")) return;
  const writing = event.target.closest?.("input, select, textarea");
  if (event.key === "/" && !writing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    query.focus();
    query.select();
  } else if (event.key === "Escape" && !writing) {
    query.focus();
  }
});
addEventListener("popstate", fromAddress);

setFresh(!new URLSearchParams(location.search).get("q"));
readLanguages()
  .catch((error) => { fault.textContent = error.message; })
  .finally(fromAddress);
