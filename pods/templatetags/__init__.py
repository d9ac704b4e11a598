"""Template filters of the pages about pods."""
