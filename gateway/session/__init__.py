"""One conversation: renders the prompt, runs tools, turns tokens into text and tool calls."""
