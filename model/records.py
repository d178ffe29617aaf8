"""The keys of the records that the pipeline writes and reads: one contract, in one place.

All keys of a kind are always present; an absent list is an empty one. Strings are bytes.
"""

# Records of CocoExampleGen (names of the TensorFlow Object Detection API).
ENCODED = "image/encoded"  # the picture file's own bytes
FORMAT = "image/format"  # b"jpeg" or b"png"
HEIGHT = "image/height"  # int64, pixels, as the COCO file says
WIDTH = "image/width"
FILENAME = "image/filename"
SOURCE_ID = "image/source_id"  # the COCO image id as decimal digits
SHA256 = "image/key/sha256"  # of the encoded bytes, 64 hex digits
BOX_YMIN = "image/object/bbox/ymin"  # float32 lists, normalised by height and width
BOX_XMIN = "image/object/bbox/xmin"
BOX_YMAX = "image/object/bbox/ymax"
BOX_XMAX = "image/object/bbox/xmax"
CLASS_LABEL = "image/object/class/label"  # int64 list, contiguous from 1
CLASS_TEXT = "image/object/class/text"
CATEGORY_ID = "image/object/category_id"  # int64 list, the COCO file's ids
ANNOTATION_ID = "image/object/annotation_id"  # int64 list
IS_CROWD = "image/object/is_crowd"  # int64 list of 0 and 1
# One byte string an object: b"" for none (absent or []), else the JSON of COCO's compressed RLE,
# {"size": [h, w], "counts": "..."}; a mask that draws to no pixel has counts of zero area.
SEGMENTATION = "image/object/segmentation"
# One byte string a picture: 5 little-endian float64 an object (x, y, w, h, area), JSON order.
COCO_NUMBERS = "image/object/coco"

# Records of CocoTransform: ENCODED (an RGB, upright JPEG), FORMAT, HEIGHT, WIDTH (of it),
# SOURCE_ID, FILENAME, the four boxes (clipped, normalised), CLASS_LABEL, IS_CROWD, ANNOTATION_ID,
# and:
# One byte string an object: a bitmap as a one-channel PNG, b"" where the object has no mask or is a
# crowd region.
MASK_BITMAP = "image/object/mask/bitmap"
MASK_YMIN = "image/object/mask/ymin"  # float32 lists: the box that the bitmap covers, normalised
MASK_XMIN = "image/object/mask/xmin"
MASK_YMAX = "image/object/mask/ymax"
MASK_XMAX = "image/object/mask/xmax"
