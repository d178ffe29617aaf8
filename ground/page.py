"""Pages of ours: one HTML file each, which needs no other file and no address, on any screen."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import jinja2

_FOLDER = Path(__file__).parent


def page_templates(folder: Path) -> "jinja2.Environment":
    """Returns the templates of a folder, which may extend `page.html.j2`.

    That is the frame, with the style that our pages share (`page.css`: light and dark, desktop and
    phone) and the blocks `title`, `style`, `content` and `script`. What is put in is escaped.

    Args:
        folder: folder of the page's own templates.
    """
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, _FOLDER]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
