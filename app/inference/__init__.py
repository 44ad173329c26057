"""The networks that are served: artifacts, engine, batches and predictions.

What belongs here: everything between an array of pictures and their labels. It knows no HTTP and no image file. It may
import the ground floor only. `engine` is the only module of the service that imports OpenVINO.
"""
