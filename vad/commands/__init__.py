"""The commands of the command line, each with its options; vad/cli.py puts them together."""
