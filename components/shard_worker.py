"""A process that does jobs of the shard machine (components/shard_pool.py), one after the other.

It reads pickled pairs (what does the job, job) and answers each with the counters, or the error.
It ends when nobody is there any more who would write to it, also in the middle of a job: whoever
started it may have been killed.
"""

import os
import pickle
import queue
import signal
import threading
import traceback
from typing import Any, BinaryIO

from components.shard_results import do_job
from model.quiet_tensorflow import quiet_tensorflow


def main() -> None:
    """Does what is asked for through the standard input, until that ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C: whoever started us ends us
    asked, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    # A library that reads or prints must not come in between.
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(asked, waiting), daemon=True).start()
    with quiet_tensorflow():  # it decodes some of the pictures
        while True:
            write_shard, job = waiting.get()
            answer: Any
            try:
                answer = dict(do_job(job, write_shard).counters)
            except Exception as error:
                answer = _sendable(error)
            pickle.dump(answer, answers)
            answers.flush()


def _listen(asked: BinaryIO, waiting: "queue.SimpleQueue[Any]") -> None:
    while True:
        try:
            waiting.put(pickle.load(asked))
        except EOFError:
            os._exit(0)


def _sendable(error: Exception) -> tuple[Exception, str]:
    """Returns an error that can be pickled, and where it was raised."""
    place = traceback.format_exc()
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever an exception's own constructor asks for
        return RuntimeError(f"{type(error).__name__}: {error}"), place
    return error, place


if __name__ == "__main__":
    main()
