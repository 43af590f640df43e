"""What a person reads: text that is safe to print, wording, the console, faults and exit codes."""
