"""Published variable names -> our weights, for the golden tests.

Torch: convolutions OIHW, dense [out, in]. TensorFlow: HWIO, dense [in, out],
`mod_bias` without the 1 that ours and torch's hold.
"""

import re

import numpy as np


class TorchWeights:
    """Assigns weights stored under stylegan2-ada-pytorch names."""

    def __init__(self, arrays, prefix):
        self.arrays, self.prefix, self.used = arrays, prefix, set()

    def get(self, name):
        self.used.add(name)
        return self.arrays[f"{self.prefix}{name}"]

    def unused(self):
        """Stored names that nothing asked for, constant FIR filters left out."""
        names = {
            key[len(self.prefix) :]
            for key in self.arrays
            if key.startswith(self.prefix) and not key.endswith("resample_filter")
        }
        return names - self.used

    def dense(self, layer, name):
        layer.kernel.assign(self.get(f"{name}.weight").T)
        layer.bias.assign(self.get(f"{name}.bias"))

    def conv(self, layer, name):
        layer.kernel.assign(self.get(f"{name}.weight").transpose(2, 3, 1, 0))
        if layer.bias is not None:
            layer.bias.assign(self.get(f"{name}.bias"))

    def modulated(self, layer, name):
        kernel = self.get(f"{name}.weight").transpose(2, 3, 1, 0)
        # Torch's up-convolution stores its kernel reversed in space.
        up = layer.conv.up
        layer.conv.kernel.assign(kernel[::-1, ::-1] if up else kernel)
        layer.bias.assign(self.get(f"{name}.bias"))
        self.dense(layer.conv.affine, f"{name}.affine")

    def styled(self, layer, name):
        self.modulated(layer, name)
        layer.noise.strength.assign(self.get(f"{name}.noise_strength"))
        noise = self.get(f"{name}.noise_const")
        layer.noise.fixed.assign(noise[np.newaxis, :, :, np.newaxis])

    def generator(self, generator):
        mapping, synthesis = generator.mapping, generator.synthesis
        generator.w_avg.assign(self.get("mapping.w_avg"))
        for i, layer in enumerate(mapping.dense):
            self.dense(layer, f"mapping.fc{i}")
        if mapping.embed is not None:
            self.dense(mapping.embed, "mapping.embed")
        const = self.get("synthesis.b4.const").transpose(1, 2, 0)
        synthesis.const.assign(const[np.newaxis])
        for level, conv in enumerate(synthesis.convs):
            block = f"synthesis.b{4 << level}"
            self.styled(conv, f"{block}.conv1")
            if level:
                self.styled(synthesis.up_convs[level - 1], f"{block}.conv0")
            if level and hasattr(synthesis, "skips"):
                self.conv(synthesis.skips[level - 1], f"{block}.skip")
            if isinstance(synthesis.to_rgb, list):
                self.modulated(synthesis.to_rgb[level], f"{block}.torgb")
        if not isinstance(synthesis.to_rgb, list):
            self.modulated(synthesis.to_rgb, f"{block}.torgb")

    def discriminator(self, discriminator):
        top = discriminator.doublings
        for level in range(1, top + 1):
            block = f"b{4 << level}"
            self.conv(discriminator.convs[level - 1], f"{block}.conv0")
            self.conv(discriminator.down_convs[level - 1], f"{block}.conv1")
            if hasattr(discriminator, "skips"):
                self.conv(discriminator.skips[level - 1], f"{block}.skip")
        if isinstance(discriminator.from_rgb, list):
            for level, layer in enumerate(discriminator.from_rgb):
                self.conv(layer, f"b{4 << level}.fromrgb")
        else:
            self.conv(discriminator.from_rgb, f"b{4 << top}.fromrgb")
        self.conv(discriminator.last_conv, "b4.conv")
        self.dense(discriminator.dense, "b4.fc")
        output = discriminator.output_layer
        if hasattr(output, "embed"):
            self.dense(output.embed, "mapping.embed")
            for i, layer in enumerate(output.dense):
                self.dense(layer, f"mapping.fc{i}")
            output = output.output_layer
        self.dense(output, "b4.out")


def torch_from_tensorflow(arrays, prefix):
    """The TensorFlow variables of one network under their torch names and layouts.

    Spec of the formats: convolutions are transposed, up-convolutions also reversed in
    space, dense layers transposed, the modulation bias gains its 1.
    """
    local = {k[len(prefix) :]: v for k, v in arrays.items() if k.startswith(prefix)}
    modules = {"Conv0_up": "conv0", "Conv1": "conv1", "ToRGB": "torgb"}
    modules |= {"Conv0": "conv0", "Conv1_down": "conv1", "FromRGB": "fromrgb"}
    modules |= {"Skip": "skip", "Dense0": "fc"}
    result = {}
    for name, value in local.items():
        if name == "lod":
            continue
        if name == "dlatent_avg":
            result["mapping.w_avg"] = value
        elif name.startswith("G_mapping/Dense"):
            i, field = name[len("G_mapping/Dense") :].split("/")
            result[f"mapping.fc{i}.{field}"] = value.T
        elif name.startswith("G_synthesis/noise"):
            i = int(name[len("G_synthesis/noise") :])
            block = 2 ** ((i + 5) // 2)
            conv = "conv1" if i % 2 == 0 else "conv0"
            result[f"synthesis.b{block}.{conv}.noise_const"] = value[0, 0]
        elif name.endswith("Const/const"):
            result["synthesis.b4.const"] = value[0]
        elif name.startswith("Output/"):
            result[f"b4.out.{name[7:]}"] = value.T
        else:
            stem = "synthesis." if name.startswith("G_synthesis/") else ""
            size, module, field = name.removeprefix("G_synthesis/").split("/")
            block = f"{stem}b{size.split('x')[0]}"
            if module == "Conv":
                torch_module = "conv1" if stem else "conv"
            else:
                torch_module = modules[module]
            if field == "weight":
                if module == "Conv0_up":
                    value = value[::-1, ::-1]
                value = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value.T
            fields = {"mod_weight": "affine.weight", "mod_bias": "affine.bias"}
            if field == "mod_weight":
                value = value.T
            elif field == "mod_bias":
                value = value + 1
            result[f"{block}.{torch_module}.{fields.get(field, field)}"] = value
    return result


class StyleGAN1Weights:
    """Assigns variables stored under the names of TensorFlow StyleGAN.

    Convolutions HWIO, dense [in, out]; flattened features in the order C, H, W.
    """

    def __init__(self, arrays, prefix):
        self.arrays, self.prefix, self.used = arrays, prefix, set()

    def get(self, name):
        self.used.add(name)
        return self.arrays[f"{self.prefix}{name}"]

    def unused(self):
        stored = [key for key in self.arrays if key.startswith(self.prefix)]
        return {key[len(self.prefix) :] for key in stored} - self.used

    def weight(self, layer, name):
        kernel = self.get(f"{name}/weight")
        size = re.match(r".*?(\d+)x\d+/Conv0_up", name)
        if size and int(size[1]) >= 128:  # the fused form reverses it in space
            kernel = kernel[::-1, ::-1]
        layer.kernel.assign(kernel)

    def layer(self, layer, name):
        self.weight(layer, name)
        layer.bias.assign(self.get(f"{name}/bias"))

    def epilogue(self, layer, name, number):
        layer.bias.assign(self.get(f"{name}/bias"))
        layer.noise.strength.assign(self.get(f"{name}/Noise/weight"))
        fixed = self.get(f"G_synthesis/noise{number}")
        layer.noise.fixed.assign(fixed.transpose(0, 2, 3, 1))
        self.layer(layer.adain.affine, f"{name}/StyleMod")

    def generator(self, generator):
        mapping, synthesis = generator.mapping, generator.synthesis
        generator.w_avg.assign(self.get("dlatent_avg"))
        generator.grow(float(self.get("G_synthesis/lod")))
        self.get("lod")
        for i, layer in enumerate(mapping.dense):
            self.layer(layer, f"G_mapping/Dense{i}")
        const = self.get("G_synthesis/4x4/Const/const").transpose(0, 2, 3, 1)
        synthesis.start.const.assign(const)
        self.epilogue(synthesis.start, "G_synthesis/4x4/Const", 0)
        for i, layer in enumerate(synthesis.styled_layers[1:], start=1):
            side = 4 << (i // 2)
            name = f"G_synthesis/{side}x{side}/{'Conv1' if i % 2 else 'Conv0_up'}"
            name = name if i > 1 else "G_synthesis/4x4/Conv"
            self.weight(layer.conv, name)
            self.epilogue(layer, name, i)
        for lod, layer in enumerate(reversed(synthesis.to_rgb)):
            self.layer(layer, f"G_synthesis/ToRGB_lod{lod}")

    def discriminator(self, discriminator):
        discriminator.grow(float(self.get("lod")))
        for i in range(discriminator.doublings):
            side = 8 << i
            self.layer(discriminator.convs[i], f"{side}x{side}/Conv0")
            self.layer(discriminator.down_convs[i], f"{side}x{side}/Conv1_down")
        for lod, layer in enumerate(reversed(discriminator.from_rgb)):
            self.layer(layer, f"FromRGB_lod{lod}")
        self.layer(discriminator.last_conv, "4x4/Conv")
        self.layer(discriminator.dense, "4x4/Dense0")
        self.layer(discriminator.output_layer, "4x4/Dense1")
