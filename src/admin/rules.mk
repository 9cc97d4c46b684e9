# The dashboard's page as a C array, so that tallyd needs no files beside it.
EXTRA_OBJECTS_admin += $(B)/gen/admin/dashboard.o

$(B)/gen/admin/dashboard.c: src/admin/dashboard.html src/admin/rules.mk
	@mkdir -p $(@D)
	$(Q){ echo '#include "admin/route.h"'; \
	echo 'const unsigned char dashboard_html[] = {'; \
	od -An -v -tx1 $< | sed 's/ \([0-9a-f][0-9a-f]\)/0x\1,/g'; \
	echo '};'; \
	echo 'const size_t dashboard_html_size_bytes = sizeof(dashboard_html);'; } > $@

$(B)/gen/admin/dashboard.o: $(B)/gen/admin/dashboard.c src/admin/route.h $(B)/flags
	$(call say,CC,$<)
	$(Q)$(CC) $(ALL_CFLAGS) -c -o $@ $<
