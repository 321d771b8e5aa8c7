"""Configuration -> networks."""

from tfstylegan import rng
from tfstylegan.networks import (
    adain_blocks,
    discriminator_growing,
    discriminator_orig,
    discriminator_resnet,
    discriminator_skip,
    generator,
    mapping,
    modulated_blocks,
    normalized_blocks,
    synthesis_growing,
    synthesis_orig,
    synthesis_resnet,
    synthesis_skip,
)

SYNTHESIS = {
    "orig": synthesis_orig.OrigSynthesis,
    "skip": synthesis_skip.SkipSynthesis,
    "resnet": synthesis_resnet.ResnetSynthesis,
    "growing": synthesis_growing.GrowingSynthesis,
}
DISCRIMINATORS = {
    "orig": discriminator_orig.OrigDiscriminator,
    "skip": discriminator_skip.SkipDiscriminator,
    "resnet": discriminator_resnet.ResnetDiscriminator,
    "growing": discriminator_growing.GrowingDiscriminator,
}
BLOCKS = {
    "modulated": lambda g: modulated_blocks.ModulatedBlocks(),
    "normalized": lambda g: normalized_blocks.NormalizedBlocks(),
    "adain": lambda g: adain_blocks.AdainBlocks(
        styles=g.styles,
        noise=g.noise,
        const_input=g.const_input,
        pixel_norm=g.pixel_norm,
        spectral_norm=g.spectral_norm,
    ),
}


def build_generator(config, label_dim=0):
    """The generator of a `config.Config` for labels of width `label_dim`."""
    g, data = config.generator, config.data
    seed = rng.child(config.seed, "generator")
    w_dim = g.w_dim
    if g.conditioning == "progan" and not g.mapping_layers:
        w_dim += label_dim  # w is z with the labels behind it
    synthesis = SYNTHESIS[g.architecture](
        w_dim=w_dim,
        base_grid=data.base_grid,
        doublings=data.doublings,
        channels=data.channels,
        fmap_base=g.fmap_base,
        fmap_min=g.fmap_min,
        fmap_max=g.fmap_max,
        resample_kernel=g.resample_kernel,
        blocks=BLOCKS[g.block](g),
        half_dtype=config.half_dtype,
        num_fp16_res=config.precision.num_fp16_res,
        conv_clamp=config.conv_clamp(g),
        seed=rng.child(seed, "synthesis"),
        name="synthesis",
    )
    mapping_network = mapping.Mapping(
        z_dim=g.z_dim,
        w_dim=w_dim,
        num_ws=synthesis.num_ws,
        num_layers=g.mapping_layers,
        lr_mul=g.mapping_lr_mul,
        label_dim=label_dim,
        conditioning=g.conditioning,
        act=g.mapping_act,
        gain_in_kernel=g.block == "adain",
        seed=rng.child(seed, "mapping"),
        name="mapping",
    )
    return generator.Generator(
        mapping_network, synthesis, w_avg_decay=g.w_avg_decay, name="generator"
    )


def build_discriminator(config, label_dim=0):
    """The discriminator of a `config.Config` for labels of width `label_dim`."""
    d, data = config.discriminator, config.data
    return DISCRIMINATORS[d.architecture](
        base_grid=data.base_grid,
        doublings=data.doublings,
        channels=data.channels,
        block=d.block,
        label_dim=label_dim,
        conditioning=d.conditioning,
        mapping_layers=d.mapping_layers,
        fmap_base=d.fmap_base,
        fmap_min=d.fmap_min,
        fmap_max=d.fmap_max,
        resample_kernel=d.resample_kernel,
        mbstd_group_size=d.mbstd_group_size,
        mbstd_num_features=d.mbstd_num_features,
        spectral_norm=d.spectral_norm,
        half_dtype=config.half_dtype,
        num_fp16_res=config.precision.num_fp16_res,
        conv_clamp=config.conv_clamp(d),
        seed=rng.child(config.seed, "discriminator"),
        name="discriminator",
    )
