"""The graph of components, its runners, and the commands."""

from tfx_rcnn import settle_if_main

settle_if_main()
