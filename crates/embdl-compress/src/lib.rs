//! The compression pipeline: prune, share, quantize, encode, each pass reporting what it cost and won. Never writes a file that grew.
