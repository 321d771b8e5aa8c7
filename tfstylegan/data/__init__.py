"""Data: sources of images and labels, and the resumable stream that training reads."""
