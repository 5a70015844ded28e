"""Everything of the CASRSegmentation module but its plug: conversion, worker process, MRML, widget."""
