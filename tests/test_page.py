"""The page in a browser: searching in three languages, by keyboard alone, by picture, and what axe finds."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from served import QUERIES, Site, build, serving

from mla_extend.serve.limits import Limits

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
axe_api = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")

DESKTOP, PHONE = (1440, 900), (390, 844)
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, dual_folder: Path) -> Site:
    """Give a registry of three languages and an index."""
    return build(tmp_path_factory.mktemp("site"), dual_folder)


@pytest.fixture(scope="module")
def url(site: Site) -> Iterator[str]:
    """Serve them."""
    with serving(site.searcher(), Limits(body_bytes=1_000_000)) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Start Chromium."""
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any, url: str) -> Iterator[Any]:
    """Open the page; whatever it complains of in the console, or asks of another host, is a failure."""
    with browser.new_context(viewport={"width": DESKTOP[0], "height": DESKTOP[1]}) as context:
        opened = watched(context, url)
        opened.goto(url)
        opened.locator("#known button").first.wait_for()
        yield opened
        assert opened.complaints == []


def watched(context: Any, url: str) -> Any:
    """Return a new page that notes what is wrong, in `complaints`."""
    opened = context.new_page()
    opened.complaints = []
    opened.on("pageerror", lambda error: opened.complaints.append(str(error)))
    opened.on("console", lambda message: complain(opened, message))
    opened.on(
        "request",
        lambda request: None if request.url.startswith((url, "blob:")) else opened.complaints.append(request.url),
    )
    return opened


def complain(opened: Any, message: Any) -> None:
    """Note a warning or an error of the console; a refused request, which a test may ask for, is none."""
    if message.type in ("warning", "error") and "Failed to load resource" not in message.text:
        opened.complaints.append(message.text)


def search(page: Any, text: str) -> None:
    """Type a query, press Enter and wait for its answer."""
    page.fill("#query", text)
    page.keyboard.press("Enter")
    settled(page)


def settled(page: Any) -> None:
    """Wait until nothing is being asked, and something is said."""
    page.wait_for_function(
        "() => !document.querySelector('#results').hasAttribute('aria-busy') && "
        "(document.querySelector('#status').textContent + document.querySelector('#fault').textContent) !== ''"
    )


@pytest.mark.parametrize("tag", ["sw", "am", "ar"])
def test_a_search_in_each_language_shows_pictures_with_scores(page: Any, site: Site, tag: str) -> None:
    """What the page shows is what the library finds; the query is shown in its own direction."""
    page.select_option("#language", tag)
    search(page, QUERIES[tag])
    expected = site.searcher().search(QUERIES[tag], tag, 24).hits
    shown = page.locator("#results img").evaluate_all("all => all.map((one) => one.alt)")
    assert shown == [hit.entry.name.rpartition("/")[2] for hit in expected]
    scores = page.locator("#results .score").all_inner_texts()
    assert [float(score.rpartition(" ")[2].split("\n")[-1]) for score in scores[:3]] == pytest.approx(
        [hit.score for hit in expected[:3]], abs=1e-3
    )
    page.wait_for_function(
        "() => [...document.querySelectorAll('#results img')].slice(0, 6).every((one) => one.naturalWidth)"
    )
    direction = page.locator("#query").evaluate("one => one.matches(':dir(rtl)')")
    assert direction == (tag == "ar")


@pytest.mark.parametrize(("tag", "name"), [("am", "አማርኛ"), ("ar", "العربية")])
def test_the_guessed_language_is_said_and_can_be_changed(page: Any, tag: str, name: str) -> None:
    """How sure it is stands beside it; another choice searches again."""
    search(page, QUERIES[tag])
    said = page.inner_text("#status")
    assert name in said
    assert "%" in said
    assert name in page.inner_text("#language option:first-child")
    page.select_option("#language", "sw")
    page.locator("#status strong", has_text="Kiswahili").wait_for()
    assert "%" not in page.inner_text("#status")
    assert "lang=sw" in page.url
    page.go_back()
    page.locator("#status strong", has_text=name).wait_for()
    assert page.input_value("#query") == QUERIES[tag]


def test_everything_is_reached_from_the_keyboard(page: Any) -> None:
    """Search, walk through the results, look at one, and come back."""
    focus = "() => document.activeElement.id || document.activeElement.tagName"
    page.locator("#panel-open").focus()
    page.keyboard.press("/")
    assert page.evaluate(focus) == "query"
    page.keyboard.type("mbwa / paka")
    page.keyboard.press("Enter")
    page.locator("#results a").first.wait_for()
    place = "() => [...document.querySelectorAll('#results a')].indexOf(document.activeElement)"
    columns = page.evaluate(
        "() => getComputedStyle(document.querySelector('#results')).gridTemplateColumns.split(' ').length"
    )
    assert columns > 2
    for key, expected in [
        ("ArrowDown", 0), ("ArrowRight", 1), ("ArrowDown", 1 + columns), ("ArrowLeft", columns), ("End", 23),
        ("ArrowRight", 23), ("Home", 0),
    ]:  # fmt: skip
        page.keyboard.press(key)
        assert page.evaluate(place) == expected, key
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.locator("#viewer[open]").wait_for()
    first = page.inner_text("#viewer-name")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#viewer-name") != first
    assert page.inner_text("#viewer-facts").startswith("3 of 24")
    page.keyboard.press("Escape")
    page.wait_for_function(f"({place})() === 2")
    page.keyboard.press("Escape")
    assert page.evaluate(focus) == "query"
    page.keyboard.press("Escape")
    assert page.input_value("#query") == ""
    assert page.locator("#start").is_visible()
    page.locator("#panel-open").focus()
    page.keyboard.press("Enter")
    page.locator("#panel[open]").wait_for()
    page.keyboard.press("Escape")
    assert page.evaluate(focus) == "panel-open"


def test_a_picture_is_searched_with_from_a_file_by_drop_and_by_paste(page: Any, site: Site) -> None:
    """And a result's own picture finds what is like it."""
    page.set_input_files("#picture-file", site.pictures / "picture 11.png")
    page.locator("#status", has_text="like your picture").wait_for()
    first = page.locator("#results img").first
    assert first.get_attribute("alt") == "picture 11.png"
    assert page.inner_text("#picture-name") == "picture 11.png"
    for event, carrier in (("drop", "dataTransfer"), ("paste", "clipboardData")):
        page.click("#picture-clear")
        assert page.locator("#start").is_visible()
        page.evaluate(
            """async ([event, carrier]) => {
                const blob = await (await fetch("/images/1")).blob();
                const transfer = new DataTransfer();
                transfer.items.add(new File([blob], "given.png", { type: "image/png" }));
                const kind = event === "drop" ? DragEvent : ClipboardEvent;
                document.body.dispatchEvent(new kind(event, { bubbles: true, cancelable: true, [carrier]: transfer }));
            }""",
            [event, carrier],
        )
        page.locator("#status", has_text="like your picture").wait_for()
        assert page.inner_text("#results .score >> nth=0").endswith("1.000"), event
    page.locator("#results a").nth(4).click()
    name = page.inner_text("#viewer-name")
    page.click("#viewer-like")
    page.wait_for_function("(name) => document.querySelector('#results img')?.alt === name", arg=name)


def test_errors_are_said_in_clear_words(page: Any, site: Site, tmp_path: Path) -> None:
    """In a place that is read aloud at once, and gone with the next answer."""
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG rubbish")
    page.set_input_files("#picture-file", broken)
    fault = page.locator("#fault")
    fault.filter(has_text="not an image that can be read").wait_for()
    assert fault.get_attribute("role") == "alert"
    large = tmp_path / "large.png"
    large.write_bytes(b"\x89PNG" + b"\0" * 1_500_000)
    page.set_input_files("#picture-file", large)
    fault.filter(has_text="larger than").wait_for()
    page.route("**/search?*", lambda route: route.abort())
    search(page, "mbwa")
    assert "cannot be reached" in fault.inner_text()
    page.unroute("**/search?*")
    search(page, "mbwa")
    assert fault.inner_text() == ""
    assert page.locator("#results li").count() == 24
    page.fill("#query", "   ")
    page.keyboard.press("Enter")
    page.locator("#start").wait_for()
    assert page.locator("#results li").count() == 0


def test_the_panel_tells_quality_data_and_licence(page: Any) -> None:
    """Of each language, in its own name and in English."""
    page.click("#panel-open")
    panel = page.locator("#panel-list")
    page.wait_for_function("() => document.querySelectorAll('#panel-list li').length === 4")
    text = panel.inner_text()
    for expected in ("English", "አማርኛ", "Amharic", "العربية", "Kiswahili", "CC-BY-4.0", "sentence pairs"):
        assert expected in text
    assert page.locator("#panel-list bdi[lang=ar]").count() == 1


def test_an_address_leads_to_its_search(page: Any, url: str) -> None:
    """It can be kept and sent; what it does not know is guessed."""
    page.goto(f"{url}/?q=mbwa&lang=sw")
    settled(page)
    assert page.input_value("#language") == "sw"
    assert page.locator("#results li").count() == 24
    page.goto(f"{url}/?q=%E1%8B%8D%E1%88%BB&lang=nothing")
    settled(page)
    assert page.input_value("#language") == "auto"
    assert page.locator("#results li").count() == 24


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_axe_finds_nothing_and_nothing_is_wider_than_the_screen(
    browser: Any, url: str, scheme: str, size: tuple[int, int]
) -> None:
    """At the start, with results, in the view of one image, in the panel, and with an error."""
    axe = axe_api.Axe()
    with browser.new_context(
        viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, reduced_motion="reduce"
    ) as context:
        page = watched(context, url)

        def check(state: str) -> None:
            found = axe.run(page)
            assert found.violations_count == 0, f"{state}: {found.generate_report()}"
            assert page.evaluate("document.documentElement.scrollWidth") <= size[0], state

        page.goto(url)
        page.locator("#known button").first.wait_for()
        check("start")
        search(page, QUERIES["ar"])
        check("results")
        page.locator("#results a").first.click()
        check("view")
        page.keyboard.press("Escape")
        page.click("#panel-open")
        page.wait_for_function("() => document.querySelectorAll('#panel-list li').length === 4")
        check("panel")
        page.keyboard.press("Escape")
        search(page, "a\0b")
        page.locator("#fault", has_text="NUL").wait_for()
        check("error")
        assert page.complaints == []


def test_motion_is_reduced_where_that_is_wished(browser: Any, url: str) -> None:
    """No transition runs then."""
    for wish, expected in (("reduce", {"0s"}), ("no-preference", {"0.12s"})):
        with browser.new_context(reduced_motion=wish) as context:
            page = context.new_page()
            page.goto(url)
            found = page.locator("button").evaluate_all(
                "all => all.map((one) => getComputedStyle(one).transitionDuration)"
            )
            assert set(found) == expected
