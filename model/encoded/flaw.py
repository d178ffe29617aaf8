"""What is wrong with a picture, as a reason code and a line."""

from model.coco.policies import REASONS


class PictureFlaw(Exception):
    """A picture that cannot be used as it is.

    Attributes:
        code: one of `model.coco.policies.REASONS`.
        detail: what is wrong.
        number: the system's number of the error (`errno`), where it failed to read; else 0.
    """

    def __init__(self, code: str, detail: str, number: int = 0):
        super().__init__(detail)
        self.code = REASONS[code].code
        self.detail = detail
        self.number = number
