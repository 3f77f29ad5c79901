"""Runs language models.

`port` is what the rest of the gateway knows of an engine. `client` is the port's implementation in
the site process; it never imports onnxruntime. `worker` is the engine process itself. Beside them
are the text parts that belong to a model and not to a site: bundle, tokenizer, chat template and
tool-call format.
"""
