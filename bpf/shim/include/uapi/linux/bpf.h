/* Named by BCC's headers; nothing of it is used. */
