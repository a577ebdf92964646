"""The configurations that are compared, by the letters of docs/performance.md."""

CONFIGURATIONS = {
    "A": "FluxControlNetPipeline as shipped, eager",
    "A2": "A with flash-attention 2 forced",
    "B": "A without the ControlNet calls that are multiplied by zero",
    "C": "our loop, eager",
    "D": "our loop, blocks compiled, any size",
    "D-static": "our loop, blocks compiled for one size",
    "F": "D, one evaluation as a CUDA graph",
    "I": "D in 8 bits (profile fast)",
    "I2": "D in 8 bits by torchao (row-wise float8)",
    "J": "I with the step cache (profile turbo)",
}
