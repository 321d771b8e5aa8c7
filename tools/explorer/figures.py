"""HTML of the page's pictures: PNG files inside it, so that none is kept on disk."""

import base64
import html

from tfstylegan import sampling

FAST = 1  # level of compression: what is looked at is not kept
SMALL = 256  # sides below are shown with square pixels

STYLE = """
.figure img { width: 100%; display: block; border-radius: 8px; background: #8881; }
.figure img.pixels { image-rendering: pixelated; }
.figure { margin: 0; }
.figure figcaption { font-size: .85rem; opacity: .75; padding: .3rem .1rem 0; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 12px; }
.sentence { padding: .6rem .8rem; border-radius: 8px; background: #f59e0b22;
  border: 1px solid #f59e0b66; font-size: .9rem; }
.empty { min-height: 120px; border-radius: 8px; border: 1px dashed #8886;
  display: grid; place-items: center; opacity: .7; font-size: .85rem; }
.bar { height: 6px; border-radius: 3px; background: #8883; margin: .4rem 0; }
.bar div { height: 100%; border-radius: 3px; background: #4f7cff; }
"""


def data_uri(content, kind="image/png"):
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def picture(image, caption, *, name="source"):
    """A figure of uint8 [H, W, C]; `name` tells which for those who do not see it."""
    pixels = "pixels" if min(image.shape[:2]) < SMALL else ""
    uri = data_uri(sampling.png(image, FAST))
    caption = html.escape(caption)
    return (
        f'<figure class="figure" data-name="{name}"><img class="{pixels}" '
        f'alt="{name}: {caption}" src="{uri}"><figcaption>{caption}</figcaption>'
        "</figure>"
    )


def pair(first, second):
    return f'<div class="pair">{first}{second}</div>'


def sentence(text):
    """What a user is told in place of a picture."""
    return f'<div class="sentence" role="alert">{html.escape(text)}</div>'


def empty(text):
    return f'<div class="empty">{html.escape(text)}</div>'


def bar(part, text):
    """A progress bar at a part in [0, 1]."""
    return (
        f'<div class="figure"><div class="bar"><div style="width: {part:.0%}"></div>'
        f"</div><figcaption>{html.escape(text)}</figcaption></div>"
    )


def animation(name, content):
    """A GIF with a link that saves it."""
    uri = data_uri(content, "image/gif")
    return (
        f'<figure class="figure" data-name="animation"><img alt="animation" '
        f'src="{uri}"><figcaption><a download="{html.escape(name)}" href="{uri}">'
        f"Download {html.escape(name)}</a></figcaption></figure>"
    )
