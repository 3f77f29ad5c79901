"""How the model bundles in this folder are made: export, data, training, evaluation."""
