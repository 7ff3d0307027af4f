"""What architectures of residual blocks share: the sizes of their layers."""

EXPANSION = 4  # of a block's width, between its two layers


def layer_sizes(num_inputs: int, hidden_dims: tuple[int, ...], num_outputs: int) -> dict[str, tuple[int, int]]:
    """Inputs and outputs of the layers by name: one to the width, two for each block, one to the outputs."""
    width = hidden_dims[0]
    blocks: dict[str, tuple[int, int]] = {}
    for i in range(len(hidden_dims)):
        blocks |= {f"up{i}": (width, EXPANSION * width), f"down{i}": (EXPANSION * width, width)}
    return {"embed": (num_inputs, width), **blocks, "last": (width, num_outputs)}
