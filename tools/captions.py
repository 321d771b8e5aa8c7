"""Words above the columns and beside the rows of a picture."""

import numpy as np

SIZES = range(13, 5, -1)  # of letters in pixels; the first that fits
GAP = 4  # pixels around words
LINE = 2  # between images
MAX_SIDE = 160  # pixels beside rows


def captioned(images, columns, heads=None, sides=None):
    """One picture of images uint8 [N, H, W, C], on white with words around them.

    heads: a word for each column, above; sides: one for each row, at the left.
    """
    from tfstylegan import sampling

    apart = ((0, 0), (0, LINE), (0, LINE), (0, 0))
    picture = sampling.grid(np.pad(images, apart, constant_values=255), columns)
    picture = picture[:-LINE, :-LINE]
    margin_x = _width(sides) if sides else 0
    margin_y = SIZES[0] + 2 * GAP if heads else 0
    height, width, channels = picture.shape
    cell_y, cell_x = (side + LINE for side in images.shape[1:3])
    result = np.full([height + margin_y, width + margin_x, channels], 255, np.uint8)
    result[margin_y:, margin_x:] = picture
    for i, text in enumerate(heads or ()):
        _put(result, text, margin_x + i * cell_x, 0, cell_x - LINE, margin_y)
    for i, text in enumerate(sides or ()):
        _put(result, text, 0, margin_y + i * cell_y, margin_x, cell_y - LINE)
    return result


def _font(size):
    from PIL import ImageFont

    return ImageFont.load_default(size)


def _width(texts):
    widest = max(_font(SIZES[0]).getlength(text) for text in texts)
    return min(MAX_SIDE, int(widest) + 2 * GAP)


def _put(canvas, text, left, top, width, height):
    """Writes in the middle of a box, in the largest letters that fit, or cut off."""
    from PIL import Image, ImageDraw

    box = Image.new("L", (width, height), 255)
    fonts = [_font(size) for size in SIZES]
    fitting = (f for f in fonts if f.getlength(text) <= width - 2 * GAP)
    font = next(fitting, fonts[-1])
    ImageDraw.Draw(box).text((width / 2, height / 2), text, 0, font, anchor="mm")
    colours = min(canvas.shape[2], 3)  # what else there is stays opaque
    canvas[top : top + height, left : left + width, :colours] = np.array(box)[..., None]
