"""The page's tabs: what each lets a user do, in one sentence and a few controls.

Numbers are drawn in the browser: a click on "Random" asks the server for nothing but
the image.
"""

import gradio as gr

from explorer import controls as controls_lib
from explorer import figures
from explorer import view as views

SEEDS = 1_000_000  # below which "Random" draws: short to write down
DRAW = f"() => Math.floor(Math.random() * {SEEDS})"
STRENGTH = 4.0  # of directions, in standard deviations
PSI = (-1.0, 1.5)
KINDS = {views.OWN: "model's own", views.RANDOM: "random", views.OFF: "off"}
METHODS = {
    "pca": "are the principal components of w (PCA), the widest first",
    "sefa": "change the styles most (SeFa), the strongest first",
    "svm": "lead towards attributes that a classifier sees",
}
SETTINGS = {"show_progress": "hidden", "queue": False}


def sources(controls):
    """Seeds of A and B beside their pictures, psi and class; returns the pictures."""
    model, pictures = controls.model, []
    with gr.Row():
        for letter, name, seed in (("A", "seed", 1), ("B", "other_seed", 2)):
            with gr.Row(equal_height=True, elem_classes="source"):
                with gr.Column(scale=2, min_width=90):
                    pictures.append(gr.HTML(elem_id=f"picture_{letter}"))
                with gr.Column(scale=3, min_width=120):
                    number = gr.Number(
                        value=seed,
                        label=f"Image {letter}: seed",
                        precision=0,
                        minimum=0,
                        maximum=2**32 - 1,
                        elem_id=name,
                    )
                    button = gr.Button("Random", size="sm", elem_id=f"draw_{name}")
            button.click(None, js=DRAW, outputs=controls.add(name, number))
    slider = gr.Slider(
        *PSI,
        value=model.psi,
        step=0.01,
        label="Truncation psi",
        info="1: as trained. 0: the average image. In between: safer, and more alike.",
        elem_id="psi",
    )
    controls.add("psi", slider)
    if model.label_dim:
        classes = [str(i) for i in range(model.label_dim)]
        dropdown = gr.Dropdown(
            classes, value="0", type="index", label="Class", elem_id="label"
        )
        controls.add("label", dropdown)
    return pictures


def mixing(controls):
    """Which layers take their style from B."""
    model = controls.model
    gr.Markdown(
        "Tick the layers that take their style from **B**; the others keep that of "
        "**A**. Coarse layers hold shape and pose, fine ones colour and texture."
    )
    names = model.layer_names
    group = gr.CheckboxGroup(
        names, value=[], type="index", label="Layers from B", elem_id="layers"
    )
    with gr.Row():
        for name, layers in controls_lib.ranges(model).items():
            button = gr.Button(name, size="sm", min_width=60, elem_id=f"mix_{name}")
            chosen = [names[i] for i in layers]
            button.click(lambda chosen=chosen: chosen, outputs=group, **SETTINGS)
    controls.add("layers", group)


def interpolation(controls, explored):
    """The way from A to B, still and as an animation."""
    gr.Markdown(f"{controls.model.way} Mixing, noise and directions stay as they are.")
    slider = gr.Slider(0, 1, value=0, step=0.01, label="From A to B", elem_id="way")
    controls.add("way", slider)
    with gr.Row(equal_height=True):
        frames = gr.Slider(2, 60, value=24, step=1, precision=0, label="Frames")
        with gr.Column(min_width=120):
            start = gr.Button("Make a GIF", elem_id="animate")
            stop = gr.Button("Stop", size="sm", elem_id="animate_stop")
    shown = gr.HTML(elem_id="animation")

    def wire():
        """Its events, once all controls are there."""
        inputs = [frames, *controls.all()]
        event = start.click(explored.animate, inputs, shown, show_progress="hidden")
        stop.click(None, cancels=[event])

    return wire


def noise(controls):
    """Noise of each resolution: kind, number, new ones."""
    model = controls.model
    if "noise" in model.missing:
        gr.HTML(figures.sentence(model.missing["noise"]))
        return
    gr.Markdown(
        "Noise adds detail that styles leave open: single hairs, freckles, strokes. "
        "Choose for each resolution where it comes from; the number tells which random "
        "noise it is."
    )
    if "noise_levels" in model.missing:
        gr.HTML(figures.sentence(model.missing["noise_levels"]))
    choices = [(KINDS[kind], kind) for kind in model.noise_kinds]
    rows = []
    for i, level in enumerate(model.noise_levels):
        with gr.Row(elem_classes="noise"):
            gr.Markdown(level, elem_classes="level")
            kind = gr.Radio(
                choices,
                value=views.OWN,
                label=f"noise of {level}",
                show_label=False,
                container=False,
                scale=5,
                elem_id=f"noise{i}",
            )
            number = gr.Number(
                value=0,
                label=f"number of {level}",
                show_label=False,
                container=False,
                precision=0,
                minimum=0,
                maximum=2**31 - 1,
                min_width=90,
                elem_id=f"number{i}",
            )
            button = gr.Button("Re-roll", size="sm", min_width=80, elem_id=f"roll{i}")
        roll = f"() => ['{views.RANDOM}', Math.floor(Math.random() * {SEEDS})]"
        button.click(None, js=roll, outputs=[kind, number])
        controls.add(f"noise{i}", kind)
        controls.add(f"number{i}", number)
        rows += [kind, number]
    with gr.Row():
        for value in model.noise_kinds:
            label = "Re-roll all" if value == views.RANDOM else f"All {KINDS[value]}"
            button = gr.Button(label, size="sm", min_width=80, elem_id=f"all_{value}")
            one = f"'{value}', Math.floor(Math.random() * {SEEDS})"
            values = ", ".join([one] * len(model.noise_levels))
            button.click(None, js=f"() => [{values}]", outputs=rows)


def directions(controls, found):
    """A slider for each direction."""
    model = controls.model
    if not len(found or ()):
        text = "The page was started without directions (--method=none)."
        gr.HTML(figures.sentence(text))
        return
    method = METHODS.get(found.about.get("method"), "were read from a file")
    gr.Markdown(
        "Each slider moves the image along one direction in w, in standard deviations. "
        f"These {method}."
    )
    if model.missing.get("psi_of_w"):
        gr.HTML(figures.sentence(model.missing["psi_of_w"]))
    sliders = []
    with gr.Row(elem_classes="sliders"):
        for i, name in enumerate(found.names):
            slider = gr.Slider(
                -STRENGTH,
                STRENGTH,
                value=0,
                step=0.1,
                label=name,
                min_width=200,
                elem_id=f"strength{i}",
            )
            sliders.append(controls.add(f"strength{i}", slider))
    with gr.Row(elem_classes="noise"):
        choices = [x for x in controls_lib.ranges(model) if x != "none"]
        moved = gr.Dropdown(
            [controls_lib.THEIR_OWN, *choices],
            value=controls_lib.THEIR_OWN,
            label="Layers that they move",
            elem_id="moved",
        )
        controls.add("moved", moved)
        button = gr.Button("All to 0", size="sm", elem_id="still")
    zeros = ", ".join(["0"] * len(sliders))
    script = f"() => {'[' + zeros + ']' if len(sliders) > 1 else '0'}"
    button.click(None, js=script, outputs=sliders)


def projection(controls, explored):
    """An image of the user's own: uploaded, projected, taken for A."""
    model, work = controls.model, explored.studio.projection
    if "projection" in model.missing or work is None:
        gr.HTML(figures.sentence(model.missing.get("projection", "Not switched on.")))
        return lambda: None
    gr.Markdown(
        "Upload an image of the kind that the model was trained on. **Project** looks "
        "for the code and noise whose image is yours, and takes it for **A**."
    )
    target = gr.State(None, time_to_live=explored.lifetime)
    code = controls.add("code", gr.State(None, time_to_live=explored.lifetime))
    with gr.Row(equal_height=True):
        upload = gr.UploadButton(
            "Upload an image", file_types=["image"], elem_id="upload"
        )
        steps = gr.Slider(
            1,
            work.max_steps,
            value=min(200, work.max_steps),
            step=1,
            precision=0,
            label="Steps",
            elem_id="steps",
        )
    with gr.Row():
        start = gr.Button("Project", variant="primary", elem_id="project")
        stop = gr.Button("Stop, keep what is found", elem_id="project_stop")
    shown = gr.HTML(figures.empty("nothing uploaded yet"), elem_id="projection")
    base = gr.Radio(
        [controls_lib.SEED, controls_lib.IMAGE],
        value=controls_lib.SEED,
        label="Image A is",
        elem_id="base",
    )
    controls.add("base", base)

    def wire():
        upload.upload(
            explored.receive, upload, [target, shown], show_progress="minimal"
        )
        event = start.click(
            explored.project,
            [target, steps],
            [shown, code, base],
            show_progress="minimal",  # where in the queue
            show_progress_on=shown,
            concurrency_limit=1,
        )
        stop.click(None, cancels=[event])

    return wire
