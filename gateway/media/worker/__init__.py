"""The voice worker's process: one UDP port and the media of all of its calls."""
