"""The queue between the reader and the handler is bounded, and ends at once."""

import threading

from pods.agent.dataset.shelf import Shelf


def test_one_thing_waits_however_large_it_is_and_others_while_there_is_room():
    shelf: Shelf[str] = Shelf(10)
    assert shelf.put("large", 50)
    assert (shelf.take(3600), shelf.size) == ("large", 0)
    assert shelf.put("a", 4)
    assert shelf.put("b", 6)
    assert (len(shelf), shelf.size) == (2, 10)
    assert [shelf.take(1), shelf.take(1), shelf.take(0)] == ["a", "b", None]


def test_what_is_too_much_waits_until_something_is_taken():
    shelf: Shelf[str] = Shelf(10)
    shelf.put("a", 6)
    later = threading.Thread(target=shelf.put, args=("b", 6), daemon=True)
    later.start()
    assert shelf.take(1) == "a"
    assert shelf.take(10) == "b"
    later.join()


def test_a_closed_shelf_takes_nothing_more_and_still_gives_what_it_has():
    shelf: Shelf[str] = Shelf(10)
    shelf.put("a", 50)
    shelf.close()
    assert not shelf.put("b", 50)
    assert [shelf.take(60), shelf.take(60)] == ["a", None]
