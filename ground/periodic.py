"""Something that is done now and then while something longer goes on."""

import contextlib
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def every(seconds: float, call: Callable[[], None], name: str) -> Iterator[None]:
    """Makes a call every so many seconds within the block, in a thread of its own.

    One that fails is the last, and its error is raised at the end of a block that went well: of a
    block that did not, its own error says more.

    Args:
        seconds: time from the end of a call to the next, and from the start to the first.
        call: what is done.
        name: name of the thread.
    """
    ended, failed = threading.Event(), list[Exception]()

    def repeat() -> None:
        try:
            while not ended.wait(seconds):
                call()
        except Exception as error:  # raised again by the block's thread
            failed.append(error)

    thread = threading.Thread(target=repeat, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    if failed:
        raise failed[0]
