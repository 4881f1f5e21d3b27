"""Images: from a folder to an image in a registry that hosts can pull."""
