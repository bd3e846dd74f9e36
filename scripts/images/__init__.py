"""`scripts/check_images`: both images built and run with buildah, on a base that debootstrap made."""
