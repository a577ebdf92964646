"""LoRA files: what a file holds and how it is applied. The modules named lora_* are torch-free."""
