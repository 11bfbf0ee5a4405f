"""Pictures: files and Pillow images to arrays and back. No torch here."""
