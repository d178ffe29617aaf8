"""Annotations in the forms of other tools, as COCO instances files.

Small readers of our own: of the libraries that convert (looked at in November 2026) `datumaro`,
`pylabel` and `supervision` bring OpenCV, pandas or matplotlib with SciPy and video codecs, `globox`
knows boxes alone and would drop polygons without a word, `labelformat` knows neither LabelMe nor
Label Studio, wants VOC's classes named beforehand and holds a whole data set in memory. None says
what it left out, and none keeps to the folder that it was given. Here a picture at a time is read,
and what is lost is counted.
"""
