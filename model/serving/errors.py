"""What is wrong with a request, and the status of HTTP that says so."""

from ground.errors import RcnnError


class RequestError(RcnnError, ValueError):
    """A request that cannot be answered.

    Args:
        message: what is wrong, one line.
        status: status of HTTP, 400 where the request is at fault.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(" ".join(message.split()))
        self.status = status


def not_found(message: str) -> RequestError:
    """Returns the error of what is not here."""
    return RequestError(message, 404)
