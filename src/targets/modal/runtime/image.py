# --- what follows is the same for every image ---

# <image>

image = image_of(IMAGE)
