"""The web pages of a site: the talk page and the console. Static files, no external assets."""
