"""The ten laws of the library, one file each, and the plain NumPy oracles that they are held against."""
