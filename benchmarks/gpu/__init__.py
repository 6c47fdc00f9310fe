"""What an accelerator makes of the library, in at most eight minutes."""
