"""Class activation maps that weigh the channels of a layer by gradients of the target."""
