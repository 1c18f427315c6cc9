"""The one exception the command line reports to its user."""


class CliError(Exception):
    """What the user asked for cannot be done; the text is one line that names the place."""
