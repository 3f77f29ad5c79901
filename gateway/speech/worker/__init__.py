"""The speech process: engines that work in one thread while another reads what the site wants."""
