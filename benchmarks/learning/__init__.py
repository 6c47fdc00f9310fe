"""What learning buys on families of problems, in and out of distribution."""
