"""What is to be found in an album, in the form that COCO's matching takes."""

from typing import Any

from model.evaluation.ground_truth import GroundTruth
from pipeline.look.album import Kind, ShownPicture, Thing


class Truth:
    """What is to be found in pictures of an album, in COCO's form.

    Args:
        ground_truth: ground truth of an album that is filled meanwhile.
    """

    def __init__(self, ground_truth: GroundTruth) -> None:
        self.ground_truth = ground_truth
        self.left_out_ids: set[int] = set()
        self.pictures: dict[int, ShownPicture] = {}
        self.things: dict[int, Thing] = {}  # by the number of their annotation

    def add_picture(self, shown: ShownPicture, image_id: int) -> None:
        """Adds a picture that is measured on."""
        self.pictures[image_id] = shown
        self.ground_truth.images.append(
            {
                "id": image_id,
                "width": shown.width,
                "height": shown.height,
                "file_name": shown.name,
            }
        )

    def keep(self, image_ids: set[int]) -> None:
        """Forgets all pictures but some."""
        of = self.ground_truth
        of.images[:] = [image for image in of.images if image["id"] in image_ids]
        of.annotations[:] = [a for a in of.annotations if a["image_id"] in image_ids]
        self.pictures = {id_: p for id_, p in self.pictures.items() if id_ in image_ids}

    def add_object(self, thing: Thing, image_id: int, category_id: int) -> None:
        """Adds an object, or a crowd, that is measured on."""
        number = len(self.ground_truth.annotations) + 1
        self.things[number] = thing
        annotation: dict[str, Any] = {
            "id": number,
            "image_id": image_id,
            "category_id": category_id,
            "bbox": list(thing.bbox or ()),
            "area": thing.area,
            "iscrowd": int(thing.kind == Kind.CROWD),
        }
        if thing.mask:
            shown = self.pictures[image_id]
            size = [shown.height, shown.width]
            annotation["segmentation"] = {"size": size, "counts": thing.mask}
        self.ground_truth.annotations.append(annotation)
