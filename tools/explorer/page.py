"""The page: pictures on the left, tabs on the right, and what happens between them."""

import functools
import html
import json
import os

import gradio as gr
import model_servers

from explorer import controls as controls_lib
from explorer import figures, panels

LIFETIME = 3600  # seconds that what users projected is kept
FILES = 600  # seconds between looks for uploaded files that were left behind
CSS = (
    figures.STYLE
    + """
.gradio-container { max-width: 1240px !important; }
.noise { align-items: center; }
.noise button { align-self: center; max-width: 110px; }
.level { max-width: 70px; font-variant-numeric: tabular-nums; }
footer { display: none !important; }
"""
)
# A file comes as text, so that the server keeps none, and is saved by a link.
SAVE = """(file) => {
  if (!file) return;
  const { name, data } = JSON.parse(file);
  const link = document.createElement("a");
  Object.assign(link, { href: data, download: name }).click();
}"""


def told(function):
    """`function`, with what users can do something about as a message."""

    @functools.wraps(function)
    def wrapped(*args):
        try:
            return function(*args)
        except (ValueError, model_servers.Failure) as error:
            raise _message(error) from error

    return wrapped


def _message(error):
    return gr.Error(html.escape(str(error)), print_exception=False, title="Sorry")


class Page:
    """The page over a `studio.Studio`; `build` makes it."""

    lifetime = LIFETIME

    def __init__(self, studio):
        self.studio = studio
        self.controls = controls_lib.Controls(studio)

    def build(self):
        """The `gr.Blocks` of it."""
        model, controls = self.studio.model, self.controls
        with gr.Blocks(
            title=f"tfstylegan: {model.title}",
            analytics_enabled=False,
            delete_cache=(FILES, LIFETIME),
        ) as page:
            gr.Markdown(self._head())
            with gr.Row():
                with gr.Column(scale=4, min_width=320):
                    picture = gr.HTML(elem_id="picture")
                    with gr.Row():
                        image = gr.Button("Download image", elem_id="save_image")
                        latents = gr.Button("Download latents", elem_id="save_latents")
                with gr.Column(scale=5, min_width=360):
                    pair = panels.sources(controls)
                    wires = self._tabs()
            for wire in wires:
                wire()
            self._wire_file(image, self.image_file)
            self._wire_file(latents, self.latents_file)
            self._wire_pictures(page, picture, pair)
        return page

    def _head(self):
        model = self.studio.model
        height, width = model.size
        return (
            f"## {html.escape(model.title)}\nA {model.kind}: images of {width} x "
            f"{height} pixels, {len(model.layer_names)} layers of style. Move a "
            "slider, and the image follows."
        )

    def _tabs(self):
        controls = self.controls
        with gr.Tabs():
            with gr.Tab("Mix styles", id="mixing"):
                panels.mixing(controls)
            with gr.Tab("Interpolate", id="interpolation"):
                animation = panels.interpolation(controls, self)
            with gr.Tab("Noise", id="noise"):
                panels.noise(controls)
            with gr.Tab("Directions", id="directions"):
                panels.directions(controls, self.studio.directions)
            with gr.Tab("Your image", id="projection"):
                projection = panels.projection(controls, self)
        return animation, projection

    def _wire_pictures(self, page, picture, pair):
        """The newest values win: what came in between is left out."""
        controls = self.controls
        latest = {"trigger_mode": "always_last", "show_progress": "hidden"}
        gr.on(
            [page.load, *(x.change for x in controls.all())],
            self.picture,
            controls.all(),
            picture,
            **latest,
        )
        shown = controls.named("seed", "other_seed", "psi", "label", "base", "code")
        gr.on(
            [page.load, *(x.change for x in shown)],
            self.pair,
            controls.all(),
            pair,
            **latest,
        )

    def _wire_file(self, button, function):
        courier = gr.Textbox(visible=False)
        made = button.click(
            function, self.controls.all(), courier, show_progress="minimal"
        )
        made.success(None, inputs=courier, js=SAVE, show_progress="hidden")

    # What events call. Each has the user's whole view in its arguments.

    def picture(self, *values):
        """HTML of the image, or of a sentence why there is none."""
        try:
            seen = self.controls.view(values)
            image = self.studio.image(seen)
        except (ValueError, model_servers.Failure) as error:
            return figures.sentence(str(error))
        return figures.picture(
            image, controls_lib.caption(seen, self.studio.directions), name="image"
        )

    def pair(self, *values):
        """HTML of A and of B."""
        try:
            seen = self.controls.view(values)
            first, second = self.studio.sources(seen)
        except (ValueError, model_servers.Failure):
            return "", ""  # which is told in the picture's place
        return figures.picture(first, "A"), figures.picture(second, "B")

    @told
    def image_file(self, *values):
        return _courier(*self.studio.image_file(self.controls.view(values)))

    @told
    def latents_file(self, *values):
        return _courier(*self.studio.latents_file(self.controls.view(values)))

    def animate(self, frames, *values):
        """HTML of a bar, at the end of the animation."""
        try:
            for done in self.studio.animation(self.controls.view(values), frames):
                if isinstance(done, int):
                    yield figures.bar(done / frames, f"frame {done} of {frames}")
                else:
                    yield figures.animation(*done)
        except (ValueError, model_servers.Failure) as error:
            raise _message(error) from error

    @told
    def receive(self, path):
        """(target, HTML) of an uploaded file, which is not kept."""
        try:
            target = self.studio.target(path)
        finally:
            os.unlink(path)
        return target, figures.pair(
            figures.picture(target, "your image, cropped and resized", name="target"),
            figures.empty("press Project"),
        )

    def project(self, target, steps):
        """(HTML, code, what A is), again and again until the projection has ended."""
        if target is None:
            raise _message("Upload an image first.")
        wanted = figures.picture(target, "your image", name="target")
        try:
            for progress in self.studio.projection.run(target, steps):
                yield self._progress(wanted, progress)
        except ValueError as error:
            raise _message(error) from error

    def _progress(self, wanted, progress):
        found, base = figures.empty("looking for a start"), gr.skip()
        text = "looking for the nearest of many images"
        if progress.image is not None:
            text = f"step {progress.done} of {progress.total}, distance "
            text += f"{progress.distance:.4g}. {progress.ended}"
            found = figures.picture(progress.image, "found so far", name="projected")
            base = controls_lib.IMAGE
        shown = figures.pair(wanted, found)
        shown += figures.bar(progress.done / progress.total, text)
        code = gr.skip() if progress.code is None else progress.code
        return shown, code, base


def _courier(name, content):
    """JSON of a file for `SAVE`."""
    data = figures.data_uri(content, "application/octet-stream")
    return json.dumps({"name": name, "data": data})


def theme():
    """Plain labels, and fonts of the system: the page loads nothing from elsewhere."""
    made = gr.themes.Soft(
        font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
    )
    return made.set(
        block_title_background_fill="none",
        block_title_background_fill_dark="none",
        block_title_text_color="*body_text_color",
        block_title_text_color_dark="*body_text_color",
        block_title_padding="0",
    )
