#!/bin/sh
echo "stock: this is for machines of a distribution's own image (kiln launch --on aws --image debian-13), and no part of an image" >&2
exit 1
