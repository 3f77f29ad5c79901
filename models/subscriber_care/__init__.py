"""The shipped subscriber-care assistant: how its data, weights and bundle are made and measured."""
