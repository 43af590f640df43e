"""Messages to people: safe text, wording, the console, errors and exit codes."""
