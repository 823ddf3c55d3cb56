"""`python -m gpuclust`, for when the script is not on the path."""

from gpuclust.cli import main

main()
