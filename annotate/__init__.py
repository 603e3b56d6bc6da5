"""Turn folders of images and videos plus a class list into a training-ready dataset."""
