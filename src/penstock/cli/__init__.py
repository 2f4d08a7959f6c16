"""The command line. Each subcommand is a module that is imported when it runs."""
