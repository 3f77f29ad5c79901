"""Where a turn changes hands: admission, choice, local engine or elsewhere, retry and resume."""
