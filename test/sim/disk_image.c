/* disk_image.c - see disk_image.h. */
#include "test/sim/disk_image.h"

#include <string.h>

void image_deinit(struct image *image)
{
    for (u32 i = 0; i < image->page_count; i++)
        sim_free(image->pages[i]);
    sim_free(image->pages);
    *image = (struct image){0};
}

void image_resize(struct image *image, u64 size)
{
    u32 count = (u32)((size + DISK_PAGE_SIZE - 1) / DISK_PAGE_SIZE);
    for (u32 i = count; i < image->page_count; i++)
        sim_free(image->pages[i]);
    if (count != image->page_count) {
        image->pages = sim_resize(image->pages, count * sizeof(*image->pages));
        for (u32 i = image->page_count; i < count; i++)
            image->pages[i] = NULL;
        image->page_count = count;
    }
    if (size < image->size && size % DISK_PAGE_SIZE != 0 && image->pages[count - 1] != NULL)
        memset(image->pages[count - 1] + size % DISK_PAGE_SIZE, 0,
               DISK_PAGE_SIZE - size % DISK_PAGE_SIZE);
    image->size = size;
}

void image_write(struct image *image, u64 offset, const u8 *bytes, u64 size)
{
    ASSERT(offset + size <= image->size);
    while (size > 0) {
        u8 **page = &image->pages[offset / DISK_PAGE_SIZE];
        u64 at = offset % DISK_PAGE_SIZE;
        u64 piece = u64_min(size, DISK_PAGE_SIZE - at);
        if (*page == NULL && bytes != NULL)
            *page = sim_alloc_zero(1, DISK_PAGE_SIZE);
        if (bytes != NULL) {
            memcpy(*page + at, bytes, piece);
            bytes += piece;
        } else if (*page != NULL && piece == DISK_PAGE_SIZE) {
            sim_free(*page);
            *page = NULL;
        } else if (*page != NULL) {
            memset(*page + at, 0, piece);
        }
        offset += piece;
        size -= piece;
    }
}

size_t image_read(const struct image *image, u64 offset, u8 *data, size_t size)
{
    if (offset >= image->size)
        return 0;
    size_t got = (size_t)u64_min(size, image->size - offset);
    for (size_t done = 0; done < got;) {
        const u8 *page = image->pages[offset / DISK_PAGE_SIZE];
        u64 at = offset % DISK_PAGE_SIZE;
        size_t piece = (size_t)u64_min(got - done, DISK_PAGE_SIZE - at);
        if (page == NULL)
            memset(data + done, 0, piece);
        else
            memcpy(data + done, page + at, piece);
        done += piece;
        offset += piece;
    }
    return got;
}

void image_copy(struct image *to, const struct image *from)
{
    image_deinit(to);
    image_resize(to, from->size);
    for (u32 i = 0; i < from->page_count; i++) {
        if (from->pages[i] == NULL)
            continue;
        to->pages[i] = sim_alloc(DISK_PAGE_SIZE);
        memcpy(to->pages[i], from->pages[i], DISK_PAGE_SIZE);
    }
}
