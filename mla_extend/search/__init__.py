"""Search pictures: the index, finding out a query's language, and what is found."""
