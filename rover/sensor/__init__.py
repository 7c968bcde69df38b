"""What SkyWalking's language agents inside processes say of them.

Files that other users wrote are opened here and nowhere else.
"""
