"""How models write tool calls: one module per format, all behind `parser.ToolFormat`.

A format does two things: it reads calls out of streamed text, and it writes the grammar under
which a model cannot write an invalid one. Which tool is called, and whether it may be, is not
decided here.
"""
